/**
 * Limits garbage. V8 lets its heap grow to several times the live data before a collection, and to
 * more the faster the process allocates. A large commit would need a multiple of the journal's
 * limit. See docs/decisions/0019-memory.md.
 */
import { constants, type NodeGCPerformanceDetail, type PerformanceEntry, PerformanceObserver } from 'node:perf_hooks';
import { setFlagsFromString } from 'node:v8';

/**
 * Run a major collection once new allocations reach this percentage of what survived the last one.
 * Both count V8's heap and the buffers outside it.
 */
const GARBAGE_PERCENT = 50;
/**
 * Minimum bytes of new allocations before a collection. To traverse the heap of an idle process
 * costs some ten milliseconds of CPU.
 */
const GARBAGE_BYTES_MIN = 32 * 1024 ** 2;

/** Applies to the whole process. Call it before much is allocated. */
export function boundGarbage(): void {
  adjust();
  const observer = new PerformanceObserver((list) => {
    if (list.getEntries().some(isMajor)) adjust();
  });
  observer.observe({ entryTypes: ['gc'] });
}

/** Whether the collection covered the whole heap. */
function isMajor(entry: PerformanceEntry): boolean {
  // The types do not know it.
  const { detail } = entry as unknown as { readonly detail: NodeGCPerformanceDetail };
  return detail.kind === constants.NODE_PERFORMANCE_GC_MAJOR;
}

/**
 * V8 counts new buffers against a limit computed from its heap alone, which is small beside the
 * journal's payloads.
 */
function adjust(): void {
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  const bytes = Math.max(((heapUsed + arrayBuffers) * GARBAGE_PERCENT) / 100, GARBAGE_BYTES_MIN);
  setFlagsFromString(`--heap-growing-percent=${Math.ceil((bytes * 100) / heapUsed)}`);
}
