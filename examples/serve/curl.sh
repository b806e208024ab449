#!/bin/sh
# What the routes of `polyhead serve` answer: ./curl.sh [URL] (default http://127.0.0.1:8080)
# A key, if the server wants one, stands in POLYHEAD_API_KEY.
set -eu
url=${1:-http://127.0.0.1:8080}

post() {
    echo "POST $1 $2"
    curl --silent --show-error --fail-with-body "$url$1" \
        --header 'content-type: application/json' \
        ${POLYHEAD_API_KEY:+--header "authorization: Bearer $POLYHEAD_API_KEY"} \
        --data "$2" | cut -c 1-400
    echo
}

get() {
    echo "GET $1"
    curl --silent --show-error --fail-with-body "$url$1" \
        ${POLYHEAD_API_KEY:+--header "authorization: Bearer $POLYHEAD_API_KEY"} | cut -c 1-400
    echo
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
