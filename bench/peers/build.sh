#!/usr/bin/env bash
# Builds llama-server, ggml-rpc-server and llama-bench of the pinned release into DIR. See README.md.
set -euo pipefail
target=${1:?usage: build.sh DIR}
root=$(cd "$(dirname "$0")/../.." && pwd)
version=$(node -p "require('$root/package.json').dependencies['@node-llama-cpp/linux-x64'] ?? require('$root/package.json').optionalDependencies['@node-llama-cpp/linux-x64']")
mkdir -p "$target"
cd "$target"
if [ ! -d source ]; then
  npm pack --silent "node-llama-cpp@$version" >/dev/null
  tar -xzf "node-llama-cpp-$version.tgz" package/llama/gitRelease.bundle
  git clone --quiet package/llama/gitRelease.bundle source
fi
cmake -S source -B build -DCMAKE_BUILD_TYPE=Release -DGGML_RPC=ON -DGGML_NATIVE=ON -DLLAMA_CURL=OFF \
  -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DBUILD_SHARED_LIBS=OFF
cmake --build build -j "$(nproc)" --target llama-server ggml-rpc-server llama-bench
cp build/bin/llama-server build/bin/ggml-rpc-server build/bin/llama-bench .
