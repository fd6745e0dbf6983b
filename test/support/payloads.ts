import { type Payload, PayloadSlab } from '../../src/memory/payload.ts';

const slab = new PayloadSlab();

/** A payload of these bytes. */
export function payloadOf(content: string | Buffer): Payload {
  if (typeof content === 'string') return slab.text(content);
  const payload = slab.allocate(content.length);
  content.copy(payload);
  return payload;
}
