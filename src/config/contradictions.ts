/** Settings that are valid one by one, but not together. */
import { isLoopback } from './loopback.ts';
import type { Settings } from './settings.ts';

/** A message for each contradiction. */
export function contradictions(settings: Settings): string[] {
  const { SNO_HOST: address, SNO_ADMIN_HOST: adminAddress, SNO_ADMIN_TOKEN: adminToken } = settings;
  const { SNO_TLS: tls, SNO_TLS_CERT: cert, SNO_TLS_KEY: key } = settings;
  const hasNats = settings.SNO_NATS_URL !== undefined;
  const { SNO_PUSHER_APP_ID, SNO_PUSHER_KEY, SNO_PUSHER_SECRET } = settings;
  const hasPusher = [SNO_PUSHER_APP_ID, SNO_PUSHER_KEY, SNO_PUSHER_SECRET].map((value) => value !== undefined);
  const isPlain = cert === undefined && key === undefined && tls !== 'off';
  const faults: readonly (readonly [boolean, string])[] = [
    [(cert === undefined) !== (key === undefined), 'SNO_TLS_CERT, SNO_TLS_KEY: set both or neither'],
    [cert !== undefined && tls === 'off', 'SNO_TLS: off contradicts SNO_TLS_CERT; unset one of them'],
    [
      isPlain && !isLoopback(address),
      `SNO_HOST: ${address} is not a loopback address, and no certificate is set; set SNO_TLS_CERT and SNO_TLS_KEY, or set SNO_TLS=off if a proxy terminates TLS`,
    ],
    [
      adminToken === undefined && !isLoopback(adminAddress),
      `SNO_ADMIN_HOST: ${adminAddress} is not a loopback address; set SNO_ADMIN_TOKEN`,
    ],
    [
      isPlain && !isLoopback(adminAddress),
      `SNO_ADMIN_HOST: ${adminAddress} is not a loopback address, and no certificate is set, so the token would cross the network in clear; set SNO_TLS_CERT and SNO_TLS_KEY, or set SNO_TLS=off if a proxy terminates TLS`,
    ],
    [
      settings.SNO_COOKIE !== undefined &&
        settings.SNO_ALLOWED_ORIGINS?.some((origin) => /^(\*|null)$/.test(origin)) === true,
      'SNO_COOKIE: SNO_ALLOWED_ORIGINS has `*` or `null`, so any web site could read what its visitors may see; name the origins',
    ],
    [
      hasPusher.some(Boolean) && !hasPusher.every(Boolean),
      'SNO_PUSHER_APP_ID, SNO_PUSHER_KEY, SNO_PUSHER_SECRET: set all of them or none',
    ],
    [
      settings.SNO_ROLE !== 'all' && !hasNats,
      `SNO_ROLE: ${settings.SNO_ROLE} needs SNO_NATS_URL: without it one process reads the WAL and serves clients`,
    ],
    [settings.SNO_NATS_CREDS !== undefined && !hasNats, 'SNO_NATS_CREDS: has no effect without SNO_NATS_URL'],
    [settings.SNO_NATS_CA !== undefined && !hasNats, 'SNO_NATS_CA: has no effect without SNO_NATS_URL'],
  ];
  return faults.flatMap(([isFault, message]) => (isFault ? [message] : []));
}
