// A GGUF model behind an OpenAI-compatible server on loopback, run by llama.cpp.
//
//     npm install node-llama-cpp@3.22.1 && node llama_server.mjs MODEL.gguf [PORT] [WINDOW] [THREADS]
//
// Messages are laid out as ChatML, which SmolLM2 was taught. No grammar is forced, whatever is
// asked for. One call at a time; the beginning that two prompts share is read once.
import http from "node:http";
import {createRequire} from "node:module";
import {pathToFileURL} from "node:url";
import path from "node:path";

const here = createRequire(path.join(process.cwd(), "package.json"));
const {getLlama} = await import(pathToFileURL(here.resolve("node-llama-cpp")));
const [file, port = "8199", window_ = "4096", threads = "2"] = process.argv.slice(2);
const size = Number(window_);
const llama = await getLlama({gpu: false, build: "never", maxThreads: Number(threads)});
const model = await llama.loadModel({modelPath: file});
const context = await model.createContext({contextSize: size, threads: Number(threads), batchSize: 512});
const sequence = context.getSequence();
const name = path.basename(file).replace(/\.gguf$/, "").toLowerCase();
const SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face";
const MOST = 512;

function text(content) {
    return typeof content === "string" ? content : content.map((part) => part.text ?? "").join("");
}

function prompt(messages) {
    const all = messages[0].role === "system" ? messages : [{role: "system", content: SYSTEM}, ...messages];
    const turns = all.map(({role, content}) => `<|im_start|>${role}\n${text(content)}<|im_end|>\n`);
    return model.tokenize(turns.join("") + "<|im_start|>assistant\n", true);
}

async function* pieces(tokens, body, most) {
    const kept = sequence.contextTokens;
    let shared = 0;
    while (shared < tokens.length - 1 && kept[shared] === tokens[shared]) shared++;
    if (shared < sequence.nextTokenIndex)
        await sequence.eraseContextTokenRanges([{start: shared, end: sequence.nextTokenIndex}]);
    const rest = tokens.slice(sequence.nextTokenIndex);
    const said = [];
    let told = "";
    const options = {temperature: body.temperature ?? 0, seed: body.seed ?? 0};
    for await (const token of sequence.evaluate(rest, options)) {
        if (model.isEogToken(token)) return;
        said.push(token);
        const now = model.detokenize(said);
        if (!now.endsWith("\ufffd")) {  // the first half of a sign is held back
            yield [now.slice(told.length), said.length];
            told = now;
        }
        if (said.length >= most) return;
    }
}

function usage(read, written) {
    return {prompt_tokens: read, completion_tokens: written, total_tokens: read + written};
}

function send(response, status, value) {
    response.writeHead(status, {"content-type": "application/json"});
    response.end(JSON.stringify(value));
}

async function complete(body, response) {
    const tokens = prompt(body.messages);
    if (tokens.length + 1 >= size) {
        const message = `the request exceeds the available context size (${tokens.length} of ${size} tokens)`;
        return send(response, 400, {error: {message, type: "exceed_context_size_error", code: 400}});
    }
    const asked = body.max_tokens ?? body.max_completion_tokens ?? MOST;
    const most = Math.min(asked, size - tokens.length - 1);
    const envelope = {id: "local", created: Math.floor(Date.now() / 1000), model: name};
    const event = (value) => response.write(`data: ${JSON.stringify({...envelope, object: "chat.completion.chunk", ...value})}\n\n`);
    if (body.stream) response.writeHead(200, {"content-type": "text/event-stream"});
    let said = "", count = 0;
    for await (const [piece, length] of pieces(tokens, body, most)) {
        said += piece;
        count = length;
        if (body.stream) event({choices: [{index: 0, delta: {content: piece}, finish_reason: null}]});
    }
    const finish_reason = count >= most ? "length" : "stop";
    if (!body.stream) {
        const choices = [{index: 0, message: {role: "assistant", content: said}, finish_reason}];
        return send(response, 200, {...envelope, object: "chat.completion", choices, usage: usage(tokens.length, count)});
    }
    event({choices: [{index: 0, delta: {}, finish_reason}]});
    event({choices: [], usage: usage(tokens.length, count)});
    response.end("data: [DONE]\n\n");
}

let last = Promise.resolve();
const server = http.createServer((request, response) => {
    if (request.method === "GET") {
        const data = [{id: name, object: "model", meta: {n_ctx: size}}];
        return request.url.endsWith("/models")
            ? send(response, 200, {object: "list", data})
            : send(response, 404, {error: {message: "not found"}});
    }
    const parts = [];
    request.on("data", (part) => parts.push(part));
    request.on("end", () => {
        last = last.then(() => complete(JSON.parse(Buffer.concat(parts)), response)).catch((error) => {
            console.error(error);
            if (!response.headersSent) send(response, 500, {error: {message: String(error)}});
            else response.destroy();
        });
    });
});
server.listen(Number(port), "127.0.0.1", () => console.log(`http://127.0.0.1:${port}/v1`));
