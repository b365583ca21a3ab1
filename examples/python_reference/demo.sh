#!/bin/sh
# The whole way, on Python's own documentation: ingest, compile, report, and an answer from a new process.
set -eu
here=examples/python_reference
artifact=artifacts/compiled/python_reference
python $here/corpus.py $here/.rag
rag ingest $here/recipe.toml
rag compile $here/recipe.toml --output $artifact
echo
echo "The same program, loaded by a new process:"
rag ask --artifact $artifact "Which keyword declares that a name belongs to the enclosing function?"
