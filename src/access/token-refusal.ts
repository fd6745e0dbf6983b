import { SnoError } from '../errors.ts';

/**
 * The part of a token that is refused. claim: the signature is right, but a claim is not, or the
 * token is not valid at this time. key: the key server has no key for it. form: anything else.
 */
type TokenPart = 'signature' | 'claim' | 'key' | 'form';

/** Why a token is refused. The message contains claims and reasons, never the token. */
export class TokenRefusal extends SnoError {
  readonly part: TokenPart;

  constructor(code: 'token_invalid' | 'token_expired', part: TokenPart, message: string) {
    super(code, message);
    this.part = part;
  }
}
