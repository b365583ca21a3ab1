# A server for one artifact: CPU only, without rights, without a compiler in the final image.
#   docker build -t ragwright .
#   docker run -p 8600:8600 -e RAGWRIGHT_API_KEYS -v ./artifact:/artifact:ro -v ./index:/index ragwright
FROM python:3.11-slim AS build
WORKDIR /src
RUN python -m venv /opt/ragwright
ENV PATH=/opt/ragwright/bin:$PATH PIP_NO_CACHE_DIR=1
COPY constraints.txt ./
# PyTorch's own index has the build without CUDA, which is gigabytes smaller.
RUN pip install --extra-index-url https://download.pytorch.org/whl/cpu \
    "$(grep -i '^torch==' constraints.txt | sed 's/+cpu//')+cpu"
COPY pyproject.toml README.md LICENSE ./
COPY retrievers retrievers
COPY programs programs
COPY optimize optimize
COPY artifacts artifacts
COPY src src
RUN pip install -c constraints.txt '.[compile,files,model]'

FROM python:3.11-slim
RUN useradd --system --create-home --home-dir /data ragwright
COPY --from=build /opt/ragwright /opt/ragwright
ENV PATH=/opt/ragwright/bin:$PATH PYTHONUNBUFFERED=1 \
    DSPY_CACHEDIR=/data/cache ANONYMIZED_TELEMETRY=False LITELLM_LOCAL_MODEL_COST_MAP=True
USER ragwright
WORKDIR /data
VOLUME /data
EXPOSE 8600
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD \
    python -c "import urllib.request as r; r.urlopen('http://127.0.0.1:8600/readyz', timeout=2)"
STOPSIGNAL SIGTERM
ENTRYPOINT ["rag", "serve", "/artifact", "--host", "0.0.0.0", "--port", "8600"]
CMD ["--index", "/index", "--store", "/data/feedback.sqlite"]
