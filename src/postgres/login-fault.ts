/** Makes the error of a failed connection: the message of Postgres or the network, and advice. */
import { ERRORS, type ErrorCode, SnoError } from '../errors.ts';
import { limitError } from './connection-limit.ts';
import { type Host, isSocketFolder, socketFile, type Target } from './conninfo/target.ts';
import { type AttemptFailure, TlsRefusal } from './dial.ts';
import { WrongAttributes } from './login.ts';
import { readableName } from './quote.ts';

interface Refusal {
  readonly code?: string;
  readonly message: string;
  /** Only Postgres's own errors have it. */
  readonly severity?: string;
  /** The server function that reports the error: unlike messages, it is never translated. */
  readonly routine?: string;
}

type Advice = readonly [code: ErrorCode, hint: string];

/** Returns one error for all hosts that were tried. */
export function loginFault(failures: readonly AttemptFailure[], target: Target, isReplication: boolean): SnoError {
  const faults = failures.map((failure) => faultOf(failure, target, isReplication));
  const [first] = faults;
  const distinct = faults.filter(
    ({ message }, index) => faults.findIndex((each) => each.message === message) === index,
  );
  if (first === undefined) return new SnoError('database_unreachable', 'cannot reach Postgres: no host was tried');
  if (distinct.length === 1) return first;
  const last = distinct.at(-1) as SnoError;
  const message = distinct.map((each) => each.message).join('; ');
  const hint = [...new Set(distinct.map((each) => each.hint))].join(' ');
  return new SnoError(last.code, message, { hint, cause: last });
}

function faultOf(failure: AttemptFailure, target: Target, isReplication: boolean): SnoError {
  const { cause, host } = failure;
  if (cause instanceof SnoError) return cause;
  const refusal = cause as Refusal;
  const limited = limitError(refusal, target.user, target.database, isReplication);
  if (limited instanceof SnoError) return limited;
  const text = textOf(refusal);
  const [code, hint] = adviceFor(refusal, failure, target);
  return new SnoError(code, `cannot reach Postgres at ${hostText(host)}: ${text}`, { hint, cause });
}

function hostText({ name, address, port }: Host): string {
  if (isSocketFolder(address)) return socketFile(address, port);
  const place = `${address.includes(':') ? `[${address}]` : address}:${port}`;
  return name === '' || name === address ? place : `${name} (${place})`;
}

function textOf({ message, code }: Refusal): string {
  return message === '' ? String(code) : message;
}

function adviceFor(refusal: Refusal, failure: AttemptFailure, target: Target): Advice {
  if (failure.cause instanceof WrongAttributes)
    return [
      'database_unreachable',
      'Name the other servers as well (host1,host2), or another target_session_attrs. Snö itself needs the primary.',
    ];
  if (refusal.severity !== undefined) return serverAdvice(refusal, failure, target);
  const hint = failure.stage === 'tls' ? tlsAdvice(refusal, target.tls.isDirect) : networkAdvice(refusal, failure.host);
  return ['database_unreachable', hint];
}

function serverAdvice({ code = '', routine, message }: Refusal, failure: AttemptFailure, target: Target): Advice {
  const unreachable = (hint: string): Advice => ['database_unreachable', hint];
  const role = readableName(target.user);
  const database = readableName(target.database);
  switch (`${code} ${routine ?? ''}`) {
    case '42501 CheckMyDatabase':
      return [
        'missing_privilege',
        `Run as the owner of the database: grant connect on database ${database} to ${role};`,
      ];
    case '55000 CheckMyDatabase':
      return unreachable(`Run: alter database ${database} allow_connections true; or name another database.`);
    case '28000 InitializeSessionUserId':
      return unreachable(
        `Create the role (create role ${role} login;), or let it log in (alter role ${role} login;), or name another user.`,
      );
    case '28000 ClientAuthentication':
      return unreachable(
        `pg_hba.conf decides which users may connect, from where and how: add a line for ${role}, database ${database} and this host (then: select pg_reload_conf();), or connect as its lines require, for example with sslmode=require or a client certificate (sslcert).`,
      );
  }
  switch (code) {
    case '3D000':
      return unreachable(
        `${target.isDatabaseNamed ? '' : 'No database is named, so Postgres uses the name of the user. '}Run: create database ${database}; or name another database.`,
      );
    case '28P01':
      return unreachable(`Correct the user or the password, which comes from ${target.password(failure.host).source}.`);
    case '28000':
      return unreachable(
        'Log in as pg_hba.conf requires for this host: with a password, a certificate (sslcert) or a system user.',
      );
    case '42501':
      return ['missing_privilege', `As a superuser: alter role ${role} with replication;`];
    case '57P03':
      return unreachable('Wait until the server has started, or read its log.');
  }
  // A pooler's message: Postgres knows every parameter that Snö sends.
  if (message.startsWith('unsupported startup parameter')) return ['session_settings', ERRORS.session_settings.hint];
  return unreachable('The log of Postgres, or of the pooler in between, says more.');
}

function tlsAdvice(refusal: Refusal, isDirect: boolean): string {
  const { code = '' } = refusal;
  if (refusal instanceof TlsRefusal && refusal.code === 'NO_TLS')
    return 'Turn on TLS there (ssl = on), or set sslmode=prefer if the network is trusted.';
  if (refusal instanceof TlsRefusal) return 'Check the host and the port.';
  // An older server takes the handshake for a startup packet, and closes the connection.
  if (isDirect && code === 'ECONNRESET')
    return 'sslnegotiation=direct needs Postgres 17 or newer with TLS on (ssl = on). Leave it out for an older server.';
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return "Name the host as the server's certificate does, or set sslmode=verify-ca.";
  if (code === 'CERT_HAS_EXPIRED') return "Renew the server's certificate.";
  if (/CERT|ISSUER|SIGNATURE/.test(code) && !code.startsWith('ERR_SSL'))
    return "Name the certificate of the authority that signed the server's by sslrootcert.";
  return 'Compare sslmode, sslcert and sslkey with what the server requires; its log says more.';
}

function networkAdvice({ code = '' }: Refusal, host: Host): string {
  if (isSocketFolder(host.address))
    return 'Check that Postgres runs, that its unix_socket_directories has this folder, and the port; or name a host for TCP.';
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'Check the name of the host.';
  return 'Check the host and the port, that Postgres runs and listens there (listen_addresses), and firewalls in between.';
}
