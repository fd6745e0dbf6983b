/** The bytes of events: what streams share, and where the id and the blank line stand. */
import { expect, test } from 'vitest';
import type { Entry } from '../../src/commit/entry.ts';
import { EncodedForms } from '../../src/fanout/encoded-forms.ts';
import { eventEncodings } from '../../src/gateway/sse/encoding.ts';
import { ByteWriter } from '../../src/memory/byte-writer.ts';
import { beginOldValues, endOldValues } from '../../src/memory/old-values.ts';
import { batches, begin, builder } from '../commit/builder-rig.ts';

const EPOCH = 'e-1-1';
const SMALL = 10;
const LARGE = 20_000;

/** An update in a commit. Its row is so long, and may have old values. */
function entryOf(bytes: number, hasOld: boolean): Entry {
  begin(1_000_000);
  builder.begin(7, 110, 0);
  const data = `{"t":"${'x'.repeat(bytes)}"}`;
  const start = builder.bytes.length;
  builder.bytes.utf8(`{"op":"update","data":${data}`);
  const record = new ByteWriter(1);
  beginOldValues(record);
  record.utf8('{"t":"before"}');
  endOldValues(record, builder.bytes.buffer, builder.bytes.length - data.length, builder.bytes.length);
  builder.bytes.utf8('}');
  const channel = new ByteWriter(8);
  channel.ascii('room:1');
  builder.event('room:{id}', channel, start, hasOld ? record : undefined);
  builder.commit(120);
  return batches[0]?.entries[0] as Entry;
}

test.each([
  [SMALL, false],
  [LARGE, false],
  [SMALL, true],
  [LARGE, true],
])('an event of %d bytes has one blank line in all its forms, which share the rest (old values: %s)', (bytes, old) => {
  const entry = entryOf(bytes, old);
  const encodings = eventEncodings(new EncodedForms(1_000_000), () => EPOCH);
  for (const { plain, withIds } of [encodings.usual, encodings.withOldValues]) {
    const shared = plain.entry(entry);
    const text = shared.toString();
    expect(text).toMatch(/^event: changes\ndata: \{"type":"changes",.*\}\n$/);
    expect(text.includes('"old":{"t":"before"}')).toBe(old && plain === encodings.withOldValues.plain);
    for (const encoding of [withIds.with, withIds.after]) expect(encoding.entry(entry)).toBe(shared);
    const tails = [plain, withIds.with, withIds.after].map((encoding) => String(encoding.tail?.(entry, true)));
    expect(tails).toEqual(['\n', `id: ${EPOCH}:0/78:1\n\n`, `\nid: ${EPOCH}:0/78:1\n`]);
  }
});
