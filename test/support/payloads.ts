import { memoryOf, type Payload, PayloadArena, roomOf } from '../../src/memory/payload.ts';

const arena = new PayloadArena();

/** Returns a payload with this content. */
export function payloadOf(content: string | Buffer): Payload {
  if (typeof content === 'string') return arena.text(content);
  const payload = arena.allocate(content.length);
  content.copy(memoryOf(payload), roomOf(payload));
  return payload;
}
