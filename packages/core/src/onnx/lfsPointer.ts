/** What stands in a file's place after `git clone` without Git LFS: some lines of text that name it. */
const POINTER = 'version https://git-lfs.github.com/spec/v1';

/** The sentence to say so; undefined for any other content. */
export function lfsPointerNote(content: Uint8Array | string): string | undefined {
  const start =
    typeof content === 'string'
      ? content.slice(0, POINTER.length)
      : asText(content.subarray(0, POINTER.length));
  if (start !== POINTER) return undefined;
  return 'only names the file that belongs there (a Git LFS pointer): fetch it with "git lfs pull" or "trivec models pull"';
}

function asText(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}
