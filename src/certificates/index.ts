export { type Authority, type CertificateSubject, issueCertificate, makeAuthority } from "./issue.ts";
export { makeRequest, readRequest } from "./request.ts";
