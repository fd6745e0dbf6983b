/**
 * Resolves at the first SIGTERM or SIGINT: an orderly stop begins. The second ends the process
 * where it stands, with 1. `heard` is told of each.
 */
export function toldToStop(heard: (signal: NodeJS.Signals, isSecond: boolean) => void = () => {}): Promise<undefined> {
  return new Promise((resolve) => {
    let isSecond = false;
    const listener = (signal: NodeJS.Signals) => {
      heard(signal, isSecond);
      if (isSecond) process.exit(1);
      isSecond = true;
      resolve(undefined);
    };
    process.on('SIGTERM', listener);
    process.on('SIGINT', listener);
  });
}
