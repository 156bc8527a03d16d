/** Whether onnxruntime has the libraries of a provider: asked before trying, which would write to stderr by itself. */
import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { arch, platform } from 'node:process';
import type { Provider } from './providers.ts';

/** Of the providers that come as libraries of their own. */
const LIBRARIES: Readonly<Record<string, string>> = {
  cuda: 'onnxruntime_providers_cuda',
  tensorrt: 'onnxruntime_providers_tensorrt',
};

/** Why a provider cannot be tried; `undefined` where nothing speaks against it. */
export function missingFiles({ name }: Provider, folder = libraryFolder()): string | undefined {
  const library = LIBRARIES[name];
  if (library === undefined) return undefined;
  const file = platform === 'win32' ? `${library}.dll` : `lib${library}.so`;
  if (folder !== undefined && existsSync(join(folder, file))) return undefined;
  return (
    `${file} is not there; on a machine with an NVIDIA GPU, ` +
    '`npm rebuild onnxruntime-node --onnxruntime-node-install=cuda12` fetches it'
  );
}

/** What NVIDIA's driver puts there for every process: a device node, on WSL that of the host, on Windows its library. */
const DRIVER_FILES: Partial<Record<NodeJS.Platform, readonly string[]>> = {
  linux: ['/dev/nvidiactl', '/dev/dxg'],
  win32: ['C:\\Windows\\System32\\nvcuda.dll'],
};

/** Whether this process could reach an NVIDIA GPU at all, so that a missing library is worth a word. */
export function seesNvidiaGpu(files = DRIVER_FILES[platform] ?? []): boolean {
  return files.some((file) => existsSync(file));
}

function libraryFolder(): string | undefined {
  const entry = createRequire(import.meta.url).resolve('onnxruntime-node');
  const binaries = join(dirname(entry), '..', 'bin');
  const version = readdirSync(binaries).find((name) => name.startsWith('napi-'));
  return version === undefined ? undefined : join(binaries, version, platform, arch);
}
