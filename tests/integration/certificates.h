/*
 * certificates: keys, certificates and revocation lists for the tests of one program, made by
 * OpenSSL in a temporary folder.
 *
 * Owns      the folder, from the first question for a path to certificates_end().
 * Thread    the test's.
 * Errors    what can't be made ends the program: no test makes sense then.
 *
 * The files, all PEM; NAME.key is the key of NAME.pem:
 *   ca.pem            signs all of these but the strangers
 *   server.pem        RSA 2048, for localhost, 127.0.0.1 and ::1; renewed.pem is the same again
 *   server-ec.pem     ECDSA P-256
 *   client.pem        CN device-1, O Pulse Works, OU line 4, SAN: device-1.example,
 *                     device-1@example.org, urn:device:1
 *   revoked.pem       a client's, in crl.pem
 *   expired.pem       a client's, of yesterday
 *   wildcard.pem      a client's whose CN is "#", nul.pem: one with a NUL in its CN
 *   other-ca.pem      signs stranger.pem (a client's) and impostor.pem (a server's)
 *   crl.pem, empty-crl.pem   of ca.pem
 *   garbage.pem       no PEM at all
 */
#ifndef TESTS_INTEGRATION_CERTIFICATES_H
#define TESTS_INTEGRATION_CERTIFICATES_H

/* Removes the folder, if there is one. */
void certificates_end(void);

/* The path of a file in the folder, whether it exists or not. Valid for the next 16 calls. */
const char *certificates_path(const char *name);

/* Puts a copy of file `from` in the place of file `to`, at once, as a renewal does. */
void certificates_copy(const char *from, const char *to);

/* Writes a file of any text. */
void certificates_write(const char *name, const char *text);

#endif
