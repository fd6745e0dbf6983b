/**
 * Prints `N passed, N failed` as the last line of every run. `, N skipped` is added if tests were
 * skipped.
 */
import type { Reporter, TestModule } from 'vitest/node';

type Unhandled = Parameters<NonNullable<Reporter['onTestRunEnd']>>[1];

export default class ClosingLine implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: Unhandled): void {
    const counts = { passed: 0, failed: unhandled.length, skipped: 0, pending: 0 };
    for (const module of modules) {
      for (const test of module.children.allTests()) counts[test.result().state]++;
      // A file that does not load, or a hook that fails, belongs to no test.
      const ownErrors = [module, ...module.children.allSuites()].flatMap((part) => part.errors());
      counts.failed += ownErrors.length;
    }
    const skipped = counts.skipped + counts.pending;
    const line = `${counts.passed} passed, ${counts.failed} failed${skipped === 0 ? '' : `, ${skipped} skipped`}`;
    // The default reporter prints its summary in the same event: this line comes after it.
    process.once('exit', () => process.stdout.write(`${line}\n`));
  }
}
