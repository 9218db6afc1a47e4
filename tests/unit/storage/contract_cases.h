/*
 * contract_cases: the parts of the contract that every engine keeps (storage/engine.h,
 * storage/operation.h). Each test tells a store and a naive model the same, and compares them
 * whenever the store is opened again.
 *
 * Thread    the test's.
 * Errors    each function runs its tests and returns how many failed.
 */
#ifndef PULSE_TESTS_UNIT_STORAGE_CONTRACT_CASES_H
#define PULSE_TESTS_UNIT_STORAGE_CONTRACT_CASES_H

int contract_operations(void);
int contract_values(void);
int contract_random(void);

#endif
