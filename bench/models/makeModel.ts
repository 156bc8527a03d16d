/** `node bench/models/makeModel.ts mini|m3|m3-full FOLDER` writes a random-weight model for the benches. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { SIZES, writeEncoder } from './encoder.ts';

const [name, folder] = process.argv.slice(2);
if (name === undefined || !(name in SIZES) || folder === undefined) {
  console.error(`Usage: node bench/models/makeModel.ts ${Object.keys(SIZES).join('|')} FOLDER`);
  process.exit(2);
}
await mkdir(folder, { recursive: true });
await writeEncoder(join(folder, 'model.onnx'), SIZES[name as keyof typeof SIZES]);
