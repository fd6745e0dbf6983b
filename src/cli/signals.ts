/**
 * Resolves at the first SIGTERM or SIGINT: an orderly stop begins. The second exits at once with
 * code
 * 1. `onSignal` is called for each.
 */
export function stopRequested(
  onSignal: (signal: NodeJS.Signals, isSecond: boolean) => void = () => {},
): Promise<undefined> {
  return new Promise((resolve) => {
    let isSecond = false;
    const listener = (signal: NodeJS.Signals) => {
      onSignal(signal, isSecond);
      if (isSecond) process.exit(1);
      isSecond = true;
      resolve(undefined);
    };
    process.on('SIGTERM', listener);
    process.on('SIGINT', listener);
  });
}
