// The two symbols of libtss2-tcti-space.so.0.
//
// Idea: the caller owns a context's memory, so a context has only plain values: the TCTI's function table and a pointer
// to a Session. A program calls Init twice: the first call, without a context, returns the size.
// Threads: different contexts are independent; one context belongs to one thread at a time.
// Errors: TSS2_RC, TCTI layer; no exception crosses the C interface. A foreign context: BAD_CONTEXT; null:
// BAD_REFERENCE.
// Source: TSS 2.0 TCTI API Specification 1.0; tss2_tcti.h.
#pragma once

#include <tss2/tss2_tcti.h>

extern "C" {
TSS2_RC Tss2_Tcti_Space_Init(TSS2_TCTI_CONTEXT* context, size_t* size, const char* config);
const TSS2_TCTI_INFO* Tss2_Tcti_Info(void);
}
