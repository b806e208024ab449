#!/bin/sh
# What the routes of `polyhead serve` answer: ./curl.sh [URL] (default http://127.0.0.1:8080)
# A key, if the server wants one, stands in POLYHEAD_API_KEY. Needs curl 7.76 or later.
set -eu
url=${1:-http://127.0.0.1:8080}

# ask PATH [CURL ARGUMENTS]: the beginning of the answer. An error ends the script.
ask() {
    path=$1
    shift
    # Not straight into `cut`: a pipe has the status of its last command.
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
# The vector, of which the first 8 numbers.
post /v1/predict '{"inputs": "The soup was cold.", "tasks": ["embedding"], "dimensions": 8}'

# As clients of OpenAI ask.
post /v1/embeddings '{"input": "The soup was cold.", "dimensions": 4}'
# As clients of text-embeddings-inference ask.
post /embed '{"inputs": "The soup was cold.", "dimensions": 4}'
post /similarity '{"inputs": {"source_sentence": "I like trains.", "sentences": ["Railways are great.", "It rains."]}}'
