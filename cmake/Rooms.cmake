# entrain_room(NAME room SOURCES a.cc ... DEPS ...): the library entrain_<room>; a room without sources is header-only.
function(entrain_room)
  cmake_parse_arguments(ARG "" "NAME" "SOURCES;DEPS" ${ARGN})
  if(ARG_SOURCES)
    add_library(entrain_${ARG_NAME} STATIC ${ARG_SOURCES})
    target_include_directories(entrain_${ARG_NAME} PUBLIC ${PROJECT_SOURCE_DIR})
    target_link_libraries(entrain_${ARG_NAME} PUBLIC ${ARG_DEPS} PRIVATE entrain_warnings)
  else()
    add_library(entrain_${ARG_NAME} INTERFACE)
    target_include_directories(entrain_${ARG_NAME} INTERFACE ${PROJECT_SOURCE_DIR})
    target_link_libraries(entrain_${ARG_NAME} INTERFACE ${ARG_DEPS})
  endif()
endfunction()

# entrain_binary(NAME program SOURCES main.cc ... DEPS ...): an installed program.
function(entrain_binary)
  cmake_parse_arguments(ARG "" "NAME" "SOURCES;DEPS" ${ARGN})
  add_executable(${ARG_NAME} ${ARG_SOURCES})
  target_include_directories(${ARG_NAME} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${ARG_NAME} PRIVATE ${ARG_DEPS} entrain_warnings)
  set_target_properties(${ARG_NAME} PROPERTIES INSTALL_RPATH "\$ORIGIN/../lib/entrain")
  install(TARGETS ${ARG_NAME} RUNTIME DESTINATION bin)
endfunction()

# entrain_test(NAME name SOURCES x_test.cc ... DEPS ... [LABELS ...] [TIMEOUT seconds] [SERIAL]): one GoogleTest program, each case
# registered with ctest. Fixtures are found by the macro ENTRAIN_FIXTURES, programs by ENTRAIN_BIN_DIR.
function(entrain_test)
  cmake_parse_arguments(ARG "SERIAL;WHOLE" "NAME;TIMEOUT" "SOURCES;DEPS;LABELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  add_executable(${ARG_NAME} ${ARG_SOURCES})
  target_include_directories(${ARG_NAME} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${ARG_NAME} PRIVATE ${ARG_DEPS} GTest::gmock GTest::gtest_main entrain_warnings)
  target_compile_definitions(${ARG_NAME} PRIVATE
    ENTRAIN_FIXTURES="${PROJECT_SOURCE_DIR}/tests/fixtures"
    ENTRAIN_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
    ENTRAIN_BIN_DIR="${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
  foreach(source IN LISTS ARG_SOURCES)
    file(RELATIVE_PATH relative ${PROJECT_SOURCE_DIR}/tests ${CMAKE_CURRENT_SOURCE_DIR}/${source})
    set_property(GLOBAL APPEND PROPERTY ENTRAIN_REGISTERED_TESTS ${relative})
  endforeach()
  set(properties TIMEOUT ${ARG_TIMEOUT})
  if(ARG_LABELS)
    list(APPEND properties LABELS "${ARG_LABELS}")
  endif()
  if(ARG_SERIAL)
    list(APPEND properties RUN_SERIAL ON)
  endif()
  gtest_discover_tests(${ARG_NAME} TEST_PREFIX "${ARG_NAME}." DISCOVERY_TIMEOUT 60 DISCOVERY_MODE PRE_TEST
                       PROPERTIES ${properties})
endfunction()
