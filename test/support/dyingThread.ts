/** Stands in for the inference thread: ends at the token 666, otherwise says which ids it got as dense vectors. */
import { parentPort } from 'node:worker_threads';
import type { FromThread, ToThread } from '@trivec/core/engine/threadMessages';

const port = parentPort!;
const send = (message: FromThread): void => port.postMessage(message);

port.on('message', (message: ToThread) => {
  if (message.type === 'stop') {
    port.close();
    return;
  }
  const { ids, lengths } = message.batch;
  if (ids.includes(666)) process.exit(3);
  send({
    type: 'done',
    inferMs: 1,
    vectors: {
      finite: new Uint8Array(lengths.length).fill(1),
      dense: Float32Array.from(lengths),
      denseDims: 1,
      sparseCounts: new Uint32Array(lengths.length),
      sparseIndices: new Uint32Array(0),
      sparseValues: new Float32Array(0),
      colbert: new Float32Array(0),
      colbertDims: 0,
    },
  });
});
send({ type: 'ready', device: 'cpu', refused: [] });
