/** Logs when the key server (SNO_JWKS_URL) stops serving keys, and when it serves them again. */
import { ERRORS } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { Metrics } from '../metrics/metrics.ts';

/** Call the result after each request; without an error if the server returned keys. */
export function watchKeyServer(logger: Logger, metrics: Pick<Metrics, 'keyServer'>): (error?: Error) => void {
  let isDown = false;
  return (error) => {
    metrics.keyServer[error === undefined ? 'answered' : 'failed'].inc();
    if (error === undefined && isDown) logger.info('the key server returns usable keys again');
    if (error !== undefined && !isDown)
      logger.warn(
        { code: 'key_server_failing', error: error.message, hint: ERRORS.key_server_failing.hint },
        'the key server returns no usable keys: the known keys stay in force for SNO_JWKS_KEEP_SECONDS, and tokens of other keys are refused',
      );
    isDown = error !== undefined;
  };
}
