// The health check of the image: exits with 0 if the admin port answers 200, otherwise with 1.
//
//     node healthcheck.mjs [/readyz | /healthz]
//
// It asks /readyz by default: whether this process should receive clients now.
import { get as getPlain } from 'node:http';
import { get as getSecure } from 'node:https';

/** Below the timeout of the image's HEALTHCHECK. */
const TIMEOUT_MS = 2_000;

const { SNO_ADMIN_HOST: given = '127.0.0.1', SNO_ADMIN_PORT: port = '9443' } = process.env;
const path = process.argv[2] ?? '/readyz';
// An address that stands for all addresses is asked at loopback.
const host = { '': '127.0.0.1', '0.0.0.0': '127.0.0.1', '::': '::1' }[given] ?? given;

/** Resolves if the answer is 200. Rejects if it is another one, or does not come in time. */
function asked(get) {
  return new Promise((resolve, reject) => {
    // The question stays on this machine, and the certificate is for the clients' name for it.
    const options = { host, port, path, timeout: TIMEOUT_MS, rejectUnauthorized: false };
    const request = get(options, ({ statusCode }) => (statusCode === 200 ? resolve() : reject(new Error(statusCode))));
    request.once('timeout', () => request.destroy());
    request.once('error', reject);
  });
}

// The admin port has TLS beyond loopback if a certificate is set, perhaps by a flag. So ask both ways.
await Promise.any([asked(getSecure), asked(getPlain)]).then(
  () => process.exit(0),
  () => process.exit(1),
);
