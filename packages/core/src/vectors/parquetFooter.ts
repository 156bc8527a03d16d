import type { FileMetaData, RowGroup } from 'hyparquet';
import { ByteWriter } from 'hyparquet-writer';
import { writeMetadata } from 'hyparquet-writer/src/metadata.js';

/** What a file says of itself, without its row groups. */
type FileDescription = Omit<FileMetaData, 'row_groups' | 'metadata_length'>;

/** A list of structs in Thrift's compact protocol (thrift-compact-protocol.md): its length in the byte itself or behind it. */
const STRUCTS = 0x0c;
const MAX_SHORT_LENGTH = 14;
/** Behind the metadata: how long they are. */
const LENGTH_BYTES = 4;

const NOTHING: FileDescription = { version: 2, schema: [{ name: 'schema', num_children: 0 }], num_rows: 0n };

/**
 * The footer of a Parquet file, made group by group while the file is written. The library makes it at the end, of ten
 * kilobytes of objects a group, and keeps the thread for a second where there are thousands. The bytes are its own.
 */
export class ParquetFooter {
  readonly #groups = new ByteWriter();
  readonly #empty = metadataOf(NOTHING, []);
  #count = 0;

  /** Without statistics: for those the library asks the schema. */
  add(group: RowGroup): void {
    const one = metadataOf(NOTHING, [group]);
    const from = listAt(this.#empty, one) + 1;
    this.#groups.appendBytes(one.subarray(from, one.length - (this.#empty.length - from)));
    this.#count++;
  }

  /** All of it but the magic number that ends the file. */
  bytes(file: FileDescription): Uint8Array {
    const empty = metadataOf(file, []);
    if (this.#count === 0) return empty;
    const at = listAt(empty, metadataOf(file, [{ columns: [], total_byte_size: 0n, num_rows: 0n }]));
    const out = new ByteWriter(empty.length + this.#groups.index);
    out.appendBytes(empty.subarray(0, at));
    if (this.#count <= MAX_SHORT_LENGTH) out.appendUint8((this.#count << 4) | STRUCTS);
    else {
      out.appendUint8((0x0f << 4) | STRUCTS);
      out.appendVarInt(this.#count);
    }
    out.appendBytes(this.#groups.getBytes());
    out.appendBytes(empty.subarray(at + 1, empty.length - LENGTH_BYTES));
    out.appendUint32(out.index);
    return out.getBytes();
  }
}

function metadataOf(file: FileDescription, groups: RowGroup[]): Uint8Array {
  const out = new ByteWriter();
  writeMetadata(out, { ...file, row_groups: groups, metadata_length: 0 });
  return out.getBytes();
}

/** Where the list of row groups begins: the first byte that tells one without any from one with some. */
function listAt(without: Uint8Array, some: Uint8Array): number {
  return without.findIndex((byte, i) => byte !== some[i]);
}
