# room(NAME [DEPENDS other rooms or libraries...]): one static library of all *.cc in this folder.
# The arrows of ARCHITECTURE.md are exactly the DEPENDS of the rooms; tests/arrows.sh proves the includes.
function(room name)
  cmake_parse_arguments(ROOM "" "" "DEPENDS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  list(FILTER sources EXCLUDE REGEX "/main\\.cc$|/cli\\.cc$")
  if(sources)
    add_library(tpmspace_${name} STATIC ${sources})
    target_link_libraries(tpmspace_${name} PUBLIC ${ROOM_DEPENDS} PRIVATE tpmspace_options)
    target_include_directories(tpmspace_${name} PUBLIC ${CMAKE_SOURCE_DIR}/src)
  else() # a room of headers
    add_library(tpmspace_${name} INTERFACE)
    target_link_libraries(tpmspace_${name} INTERFACE ${ROOM_DEPENDS})
    target_include_directories(tpmspace_${name} INTERFACE ${CMAKE_SOURCE_DIR}/src)
  endif()
endfunction()

# unit_tests(ROOM): every tests/unit/ROOM/*.cc in one program, each test known to ctest by name.
function(unit_tests room)
  cmake_parse_arguments(UNIT "" "" "DEPENDS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${room}/*.cc)
  if(NOT sources)
    return()
  endif()
  add_executable(unit_${room} ${sources})
  target_link_libraries(unit_${room} PRIVATE tpmspace_${room} ${UNIT_DEPENDS} tpmspace_options GTest::gtest_main)
  gtest_discover_tests(unit_${room} TEST_PREFIX "${TPMSPACE_TEST_PREFIX}unit.${room}." DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT 300)
endfunction()
