// The two symbols of libtss2-tcti-space.so.0.
//
// Idea: a context is memory of the caller's, so only plain values live in it: the TCTI's function table and a pointer
// to our Session. Init is called twice: without a context it tells the size.
// Threads: different contexts are independent; one context belongs to one thread at a time.
// Errors: TSS2_RC, TCTI layer; no exception crosses. A context that is not one of ours: BAD_CONTEXT; null:
// BAD_REFERENCE. Source: TSS 2.0 TCTI API Specification 1.0; tss2_tcti.h.
#pragma once

#include <tss2/tss2_tcti.h>

extern "C" {
TSS2_RC Tss2_Tcti_Space_Init(TSS2_TCTI_CONTEXT* context, size_t* size, const char* config);
const TSS2_TCTI_INFO* Tss2_Tcti_Info(void);
}
