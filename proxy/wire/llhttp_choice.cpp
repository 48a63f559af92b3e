// Which of the two builds of llhttp reads messages (proxy/CMakeLists.txt): what llhttp_execute()
// calls in place of its own. Both read alike; one skims long values with SSE 4.2.

#include <llhttp.h>

extern "C" {
int llhttp__internal_execute(llhttp__internal_t* state, const char* begin, const char* end);
int llhttp__internal_execute_sse42(llhttp__internal_t* state, const char* begin, const char* end);
int llhttp__internal_execute_chosen(llhttp__internal_t* state, const char* begin, const char* end);
}

static const bool has_sse42 = __builtin_cpu_supports("sse4.2") != 0;

int llhttp__internal_execute_chosen(llhttp__internal_t* state, const char* begin, const char* end) {
  return has_sse42 ? llhttp__internal_execute_sse42(state, begin, end)
                   : llhttp__internal_execute(state, begin, end);
}
