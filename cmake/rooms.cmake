# pagewire_room(NAME DEPENDS A B ...): the static library pagewire_NAME from src/NAME/*.cpp
# (main.cpp aside). A room without a .cpp is an interface library.

add_library(pagewire_flags INTERFACE)
# -iquote, not -I: our "sys/socket.h" must not hide the system's <sys/socket.h>.
target_compile_options(pagewire_flags INTERFACE
  "SHELL:-iquote ${CMAKE_SOURCE_DIR}/src"
  -Wall -Wextra -Wconversion -Wshadow -Wnon-virtual-dtor -Werror=switch)
target_compile_definitions(pagewire_flags INTERFACE PAGEWIRE_VERSION="${PROJECT_VERSION}")
if(PAGEWIRE_WERROR)
  target_compile_options(pagewire_flags INTERFACE -Werror)
endif()
if(PAGEWIRE_SANITIZE)
  # Without vptr: to look at an object, UBSan makes a pipe, and when there are no descriptors left
  # (the fault tests bring that about) it takes the failure for a bad object and ends the program.
  target_compile_options(pagewire_flags INTERFACE
    -fsanitize=${PAGEWIRE_SANITIZE} -fno-sanitize=vptr -fno-omit-frame-pointer
    -fno-sanitize-recover=all)
  target_link_options(pagewire_flags INTERFACE -fsanitize=${PAGEWIRE_SANITIZE})
endif()
if(PAGEWIRE_FUZZ)
  # Every room is instrumented for coverage; only the fuzz targets link libFuzzer's main.
  target_compile_options(pagewire_flags INTERFACE -fsanitize=fuzzer-no-link)
  target_link_options(pagewire_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

function(pagewire_room name)
  cmake_parse_arguments(ROOM "" "" "DEPENDS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${name}/*.cpp)
  list(FILTER sources EXCLUDE REGEX "/main\\.cpp$")
  if(sources)
    add_library(pagewire_${name} STATIC ${sources})
    set(scope PUBLIC)
  else()
    add_library(pagewire_${name} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_link_libraries(pagewire_${name} ${scope} pagewire_flags Threads::Threads fmt::fmt)
  foreach(dependency ${ROOM_DEPENDS})
    target_link_libraries(pagewire_${name} ${scope} pagewire_${dependency})
  endforeach()
endfunction()
