import { QdrantDouble } from '../test/support/qdrantDouble.ts';

/** The double in a process of its own, so that its work is not counted as the sink's. Ends with its parent. */
const double = await QdrantDouble.start();
process.on('disconnect', () => process.exit(0));
process.send?.(double.url);
