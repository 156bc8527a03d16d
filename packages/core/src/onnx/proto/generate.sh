#!/usr/bin/env bash
# Makes onnx_pb.js and onnx_pb.d.ts from the onnx.proto that the PyPI package of ONNX carries.
# Needs python3 with pip, unzip, protoc (Debian: protobuf-compiler) and npx. For maintainers; the outputs are committed.
set -euo pipefail
cd "$(dirname "$0")"
onnx_version=1.23.2
plugin_version=2.13.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip download --quiet --no-deps --dest "$work" "onnx==$onnx_version"
unzip -q -o "$work"/onnx-*.whl onnx/onnx.proto -d "$work"
npx --yes --package "@bufbuild/protoc-gen-es@$plugin_version" --package "@bufbuild/protobuf@$plugin_version" -- \
  protoc -I "$work/onnx" --es_out=. --es_opt=target=js+dts,import_extension=js "$work/onnx/onnx.proto"
npx biome check --write onnx_pb.js onnx_pb.d.ts
