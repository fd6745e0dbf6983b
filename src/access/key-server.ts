/** Tells the operator when the key server (SNO_JWKS_URL) stops giving keys, and when it does again. */
import type { Logger } from '../logger.ts';
import type { Metrics } from '../metrics.ts';

/** To be called each time that it was asked; without an error where it gave keys. */
export function watchKeyServer(logger: Logger, metrics: Pick<Metrics, 'keyServer'>): (error?: Error) => void {
  let isDown = false;
  return (error) => {
    metrics.keyServer[error === undefined ? 'answered' : 'failed'].inc();
    if (error === undefined && isDown) logger.info('the key server gives keys again');
    if (error !== undefined && !isDown)
      logger.warn(
        { error: error.message },
        'the key server gives no keys: the known ones stay in force for SNO_JWKS_KEEP_SECONDS, other tokens are refused',
      );
    isDown = error !== undefined;
  };
}
