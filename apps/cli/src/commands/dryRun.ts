import type { DryRunReport } from '../apiTypes.ts';
import { formatBytes, formatCount, formatDuration, formatNumberOf } from '../format.ts';
import type { UploadTally } from '../upload.ts';

/** The server's report with what this side would not even send. */
export function withUnsent(
  report: DryRunReport,
  { skipped, firstSkipped }: UploadTally,
  skipInvalid: boolean,
): DryRunReport {
  if (skipped === 0) return report;
  const { byCode, first, total } = report.refused;
  const unsent = { id: '', code: 'invalid_document', message: firstSkipped ?? '' };
  return {
    ...report,
    accepted: report.accepted && skipInvalid,
    refused: {
      total: total + skipped,
      byCode: { ...byCode, invalid_document: (byCode.invalid_document ?? 0) + skipped },
      first: [unsent, ...first].slice(0, 10),
    },
  };
}

/** What a job would be, for people. Pure. */
export function dryRunText(report: DryRunReport): string {
  const { documents, textBytes, tokens, sampledTexts, rows, refused, resultBytes } = report;
  const entries: [name: string, value: string][] = [
    ['documents', `${formatCount(documents)}, ${formatBytes(textBytes)} of text`],
    ['tokens', `about ${formatCount(tokens)}, from a sample of ${formatNumberOf(sampledTexts, 'text')}`],
    ...(rows === documents ? [] : [['chunks', `about ${formatCount(rows)}`] as [string, string]]),
    ['time', timeOf(report)],
    ...Object.entries(resultBytes).map(
      ([output, bytes]) =>
        [output, `${output === 'sparse' ? 'at most' : 'about'} ${formatBytes(bytes)}`] as [string, string],
    ),
  ];
  if (refused.total > 0) {
    const codes = Object.entries(refused.byCode).map(([code, count]) => `${formatCount(count)} ${code}`);
    entries.push(['refused', `${formatNumberOf(refused.total, 'record')}: ${codes.join(', ')}`]);
    for (const { message } of refused.first) entries.push(['', message]);
    if (refused.total > refused.first.length) entries.push(['', '…']);
  }
  const verdict = report.accepted
    ? 'Nothing was stored. Without --dry-run this would be taken.'
    : 'Nothing was stored. Without --dry-run this would be refused; --skip-invalid leaves such records out.';
  return [...entries.map(([name, value]) => `${name.padEnd(10)} ${value}`), verdict].join('\n');
}

function timeOf({ estimatedSeconds, tokensPerSecond }: DryRunReport): string {
  if (estimatedSeconds === null) return 'not known: no worker has measured its speed yet';
  return `about ${formatDuration(estimatedSeconds)} at ${formatNumberOf(tokensPerSecond, 'token')}/s, with nothing beside it`;
}
