/**
 * How much garbage may lie about. V8 lets its heap grow to several times what is alive before it collects, and does so the
 * more, the faster garbage is made: a large commit would take a multiple of the journal's bound. Why so: docs/decisions/0019-memory.md.
 */
import { setFlagsFromString } from 'node:v8';

/** The old generation is collected when it has grown by so much since the last time, in percent of what was alive then. */
const HEAP_GROWTH_PERCENT = 50;

/** For the whole process; before much is allocated. */
export function boundGarbage(): void {
  setFlagsFromString(`--heap-growing-percent=${HEAP_GROWTH_PERCENT}`);
}
