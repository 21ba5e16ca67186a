/** What only HTTP knows: faults that have no code of their own in the table of error codes. */
export const HTTP_FAULTS = {
  invalid_api_key: 401,
  host_not_allowed: 403,
  route_not_found: 404,
  method_not_allowed: 405,
  request_timeout: 408,
  unsupported_media_type: 415,
  headers_too_large: 431,
  malformed_http: 400,
  too_many_connections: 503,
} as const;

export type HttpFaultCode = keyof typeof HTTP_FAULTS;

/** Thrown before a handler runs; answered like any other error. */
export class HttpFault extends Error {
  override readonly name: string = "HttpFault";
  readonly code: HttpFaultCode;
  readonly headers: Readonly<Record<string, string>>;

  constructor(code: HttpFaultCode, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message);
    this.code = code;
    this.headers = headers;
  }

  get status(): number {
    return HTTP_FAULTS[this.code];
  }
}
