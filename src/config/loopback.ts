const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|::1)$/;

/** Whether a host, by name or address, is this machine only. */
export function isLoopback(host: string): boolean {
  return LOOPBACK.test(host);
}
