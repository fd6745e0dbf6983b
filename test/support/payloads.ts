import { memoryOf, type Payload, PayloadSlab, roomOf } from '../../src/memory/payload.ts';

const slab = new PayloadSlab();

/** Returns a payload with this content. */
export function payloadOf(content: string | Buffer): Payload {
  if (typeof content === 'string') return slab.text(content);
  const payload = slab.allocate(content.length);
  content.copy(memoryOf(payload), roomOf(payload));
  return payload;
}
