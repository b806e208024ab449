#!/bin/sh
# Shows the responses of `polyhead serve`: ./curl.sh [URL] (default http://127.0.0.1:8080)
# POLYHEAD_API_KEY holds a key, if the server needs one. Needs curl 7.76 or later.
set -eu
url=${1:-http://127.0.0.1:8080}

# ask PATH [CURL ARGUMENTS]: the beginning of the answer. An error ends the script.
ask() {
    path=$1
    shift
    # Not directly into `cut`: a pipe has the status of its last command.
    answer=$(curl --silent --show-error --fail-with-body "$url$path" \
        ${POLYHEAD_API_KEY:+--header "authorization: Bearer $POLYHEAD_API_KEY"} "$@") || {
        [ -z "$answer" ] || printf '%s\n' "$answer" >&2
        exit 1
    }
    printf '%s\n\n' "$answer" | cut -c 1-400
}

get() {
    echo "GET $1"
    ask "$1"
}

post() {
    echo "POST $1 $2"
    ask "$1" --header 'content-type: application/json' --data "$2"
}

get /readyz
get /v1/model

# Every head of the model.
post /v1/predict '{"inputs": ["The soup was cold.", "Anna moved to Berlin."]}'
# The first 8 numbers of the vector.
post /v1/predict '{"inputs": "The soup was cold.", "tasks": ["embedding"], "dimensions": 8}'

# The route for clients of OpenAI.
post /v1/embeddings '{"input": "The soup was cold.", "dimensions": 4}'
# The routes for clients of text-embeddings-inference.
post /embed '{"inputs": "The soup was cold.", "dimensions": 4}'
post /similarity '{"inputs": {"source_sentence": "I like trains.", "sentences": ["Railways are great.", "It rains."]}}'
