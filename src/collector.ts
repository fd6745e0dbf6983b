/**
 * How much garbage may lie about. V8 lets its heap grow to several times what is alive before it collects, and does so the
 * more, the faster garbage is made: a large commit would take a multiple of the journal's bound. Why so: docs/decisions/0019-memory.md.
 */
import { constants, type NodeGCPerformanceDetail, type PerformanceEntry, PerformanceObserver } from 'node:perf_hooks';
import { setFlagsFromString } from 'node:v8';

/** It is collected when there is so much new since the last time, in percent of what was alive then, in V8's heap and in buffers outside of it. */
const GARBAGE_PERCENT = 50;
/** For less it is not: to go through the heap of a process that does nothing costs some ten milliseconds of CPU. */
const GARBAGE_BYTES_MIN = 32 * 1024 ** 2;

/** For the whole process; before much is allocated. */
export function boundGarbage(): void {
  adjust();
  const observer = new PerformanceObserver((list) => {
    if (list.getEntries().some(isMajor)) adjust();
  });
  observer.observe({ entryTypes: ['gc'] });
}

/** Of the whole heap. */
function isMajor(entry: PerformanceEntry): boolean {
  // the types do not know of it
  const { detail } = entry as unknown as { readonly detail: NodeGCPerformanceDetail };
  return detail.kind === constants.NODE_PERFORMANCE_GC_MAJOR;
}

/** V8 counts new buffers against a bound that it reckons from its heap alone, which is small beside the journal's frames. */
function adjust(): void {
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  const bytes = Math.max(((heapUsed + arrayBuffers) * GARBAGE_PERCENT) / 100, GARBAGE_BYTES_MIN);
  setFlagsFromString(`--heap-growing-percent=${Math.ceil((bytes * 100) / heapUsed)}`);
}
