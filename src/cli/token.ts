import type { Command } from './command.ts';
import { CLAIM_FLAG, readClaims, readDuration, signToken } from './development-token.ts';

export const token: Command = {
  summary: 'sign a development token with SNO_JWT_SECRET',
  usage: '--claim sub=u1 [--claim role=admin] [--claim \'orgs=["a","b"]\'] [--expires 1h]',
  description:
    "Prints a signed token (HS256) with these claims, for development. It has the issuer and audience\nthat the settings require. In production your app's server signs the tokens.",
  operands: { min: 0, max: 0 },
  flags: {
    claim: CLAIM_FLAG,
    expires: { value: 'TIME', description: 'How long the token is valid: 90s, 15m, 1h, 7d. Default: 1h.' },
  },
  settings: ['SNO_JWT_SECRET', 'SNO_JWT_ISSUER', 'SNO_JWT_AUDIENCE'],
  async run({ flags, settings }) {
    const claims = readClaims('token', flags.get('claim') ?? []);
    const expiresSeconds = readDuration('token', flags.get('expires')?.[0] ?? '1h');
    process.stdout.write(`${await signToken(settings, claims, expiresSeconds, Date.now())}\n`);
    return 0;
  },
};
