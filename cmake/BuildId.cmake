# Which source a program was built from: `git describe` when the tree is configured, into a header that only base/build_id.cc
# includes, so that a new commit recompiles one file.
set(ENTRAIN_BUILD_ID "unknown")
find_package(Git QUIET)
if(Git_FOUND)
  execute_process(COMMAND ${GIT_EXECUTABLE} describe --always --dirty --tags
                  WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
                  OUTPUT_VARIABLE described OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE describe_failed)
  if(NOT describe_failed)
    set(ENTRAIN_BUILD_ID "${described}")
  endif()
endif()
configure_file(${PROJECT_SOURCE_DIR}/base/build_id.h.in ${PROJECT_BINARY_DIR}/generated/build_id_values.h @ONLY)
