# What every target of ours is compiled with.
add_library(tpmspace_warnings INTERFACE)
target_compile_options(tpmspace_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wold-style-cast -Wnon-virtual-dtor -Woverloaded-virtual
  $<$<BOOL:${TPMSPACE_DEVELOPER}>:-Werror>)
add_library(tpmspace_options INTERFACE)
target_link_libraries(tpmspace_options INTERFACE tpmspace_warnings)
target_include_directories(tpmspace_options INTERFACE ${CMAKE_SOURCE_DIR}/src)
# A broken invariant ends a test; a release contains it (base/invariant.h).
if(TPMSPACE_TESTS OR TPMSPACE_FUZZ)
  target_compile_definitions(tpmspace_options INTERFACE TPMSPACE_ABORT_ON_BROKEN_INVARIANTS)
endif()
if(TPMSPACE_SANITIZE)
  target_compile_options(tpmspace_options INTERFACE -fsanitize=${TPMSPACE_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all
    -fno-sanitize=vptr) # its check opens a pipe, and would end a daemon that has no descriptor left
  target_link_options(tpmspace_options INTERFACE -fsanitize=${TPMSPACE_SANITIZE})
endif()
