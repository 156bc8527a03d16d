import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { parseHead, readM3Heads } from '@trivec/core/onnx/m3Heads';
import { readTorchCheckpoint } from '@trivec/core/onnx/torchCheckpoint';
import fc from 'fast-check';
import { unzipSync, zipSync } from 'fflate';

const golden = (name: string) => readFileSync(new URL(`../../golden/onnx/${name}`, import.meta.url));
const sparse = golden('sparse_linear.pt');

const refused = (pattern: RegExp) => (error: Error & { code?: string }) =>
  error.code === 'invalid_model' && pattern.test(error.message);

/** The published layout with some entries replaced (or, as undefined, left out). */
function archive(changes: Record<string, Uint8Array | undefined>, level: 0 | 6 = 0): Uint8Array {
  const entries: Record<string, Uint8Array> = unzipSync(sparse);
  for (const [name, bytes] of Object.entries(changes)) {
    if (bytes === undefined) delete entries[`sparse_linear/${name}`];
    else entries[`sparse_linear/${name}`] = bytes;
  }
  return zipSync(entries, { level });
}

const pickle = unzipSync(sparse)['sparse_linear/data.pkl']!;

function patched(from: string, to: string): Uint8Array {
  return Buffer.from(Buffer.from(pickle).toString('latin1').replace(from, to), 'latin1');
}

test('a state dict with module metadata, in fp32, gives the values of the fp16 one', () => {
  const half = readTorchCheckpoint(sparse);
  const full = readTorchCheckpoint(golden('sparse_linear_fp32.pt'));
  assert.deepEqual([...full.keys()], ['weight', 'bias']);
  assert.deepEqual(full.get('weight'), half.get('weight'));
  assert.deepEqual(full.get('weight')?.shape, [1, 32]);
});

test('a pickle that names or does anything else is refused', () => {
  const hostile: [Uint8Array, RegExp][] = [
    [patched('ctorch\nHalfStorage', 'cposix\nsystem'), /names "posix system"/],
    [patched('ccollections\nOrderedDict', 'cbuiltins\neval'), /names "builtins eval"/],
    [patched('torch._utils\n_rebuild_tensor_v2', 'torch._utils\n_rebuild_parameter'), /_rebuild_parameter/],
    [Buffer.concat([pickle.subarray(0, 2), Buffer.from('ios\nsystem\n.')]), /opcode 0x69/],
    [patched('\x80\x02', '\x80\x04'), /protocol 2/],
    [patched('storageq', 'module_q'), /cut short|refers|unlisted|opcode|state dict/],
    [pickle.subarray(0, pickle.length - 5), /cut short/],
    [Buffer.from('\x80\x02]q.', 'latin1'), /opcode 0x5d/],
    [Buffer.from('\x80\x02.', 'latin1'), /empty stack/],
    [Buffer.from('\x80\x02K\x05.', 'latin1'), /no state dict/],
    [Buffer.from('\x80\x02h\x05.', 'latin1'), /never stored/],
  ];
  for (const [data, pattern] of hostile)
    assert.throws(() => readTorchCheckpoint(archive({ 'data.pkl': data })), refused(pattern));
});

test('an archive that is not what it says is refused', () => {
  const cases: [Uint8Array, RegExp][] = [
    [Buffer.from('<html>not found</html>'), /not a whole zip/],
    [new Uint8Array(), /not a whole zip/],
    [sparse.subarray(0, sparse.length - 100), /not a whole zip/],
    [archive({}, 6), /compressed/],
    [archive({ 'data.pkl': undefined }), /no data.pkl/],
    [archive({ 'data/0': new Uint8Array(62) }), /storage of tensor weight/],
    [archive({ 'data/1': undefined }), /storage of tensor bias/],
    [archive({ byteorder: Buffer.from('big') }), /little-endian/],
    // 32 elements stored, a tensor of [1, 32] that starts at the second.
    [archive({ 'data.pkl': patched('QK\x00K\x01K\x20', 'QK\x01K\x01K\x20') }), /beyond its storage/],
    [archive({ 'data.pkl': patched('\x86q\x09K\x20K\x01', '\x86q\x09K\x01K\x20') }), /row by row/],
  ];
  for (const [bytes, pattern] of cases) assert.throws(() => readTorchCheckpoint(bytes), refused(pattern));
});

test('no damage to a file makes the reader do anything but refuse or read', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(sparse.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 }),
      (edits) => {
        const bytes = Uint8Array.from(sparse);
        for (const [at, value] of edits) bytes[at] = value;
        try {
          for (const { shape, values } of readTorchCheckpoint(bytes).values())
            assert.equal(
              values.length,
              shape.reduce((product, size) => product * size, 1),
            );
        } catch (error) {
          assert.equal((error as { code?: string }).code, 'invalid_model', String(error));
        }
      },
    ),
  );
});

test('heads that do not belong together are named', async (t) => {
  assert.equal(parseHead(golden('colbert_linear.pt')).outDims, 32);
  const folder = await mkdtemp(join(tmpdir(), 'heads-'));
  t.after(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, 'sparse_linear.pt'), sparse);
  await assert.rejects(readM3Heads(folder), refused(/colbert_linear.pt cannot be read/));
  await writeFile(join(folder, 'colbert_linear.pt'), 'version https://git-lfs.github.com/spec/v1');
  await assert.rejects(readM3Heads(folder), refused(/colbert_linear.pt: .*not a whole zip/));
  await writeFile(join(folder, 'sparse_linear.pt'), golden('colbert_linear.pt'));
  await writeFile(join(folder, 'colbert_linear.pt'), sparse);
  await assert.rejects(readM3Heads(folder), refused(/one output expected, 32 found/));
});
