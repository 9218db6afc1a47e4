/*
 * sql_support: tables of users for tests, and clients that log in.
 */
#ifndef PULSE_TESTS_UNIT_NODE_AUTH_SQL_SUPPORT_H
#define PULSE_TESTS_UNIT_NODE_AUTH_SQL_SUPPORT_H

#include "node/auth/auth.h"

#define SQL_USER_QUERY "SELECT password_hash, user_groups FROM mqtt_users WHERE username = %u"
#define SQL_ACL_QUERY \
    "SELECT permission, action, topic FROM mqtt_acl WHERE username = %u ORDER BY id"

/* Statements that make both tables, with the user `pump-7`, password `secret`, of `devices,pumps`,
 * and rules for it; %s stands for the type of a name. Borrowed until the next call. */
const char *sql_tables(const char *name_type);

/* A hash of `password` that is cheap to compute. Borrowed until the next call. */
const char *sql_hash(const char *password);

/* Settings with SQL alone, in `database`. */
struct auth_settings sql_settings(const char *database);

enum auth_verdict sql_verdict(struct auth *auth, const char *username, const char *password);

#endif
