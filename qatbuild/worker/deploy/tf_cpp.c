/* Runs a frozen graph on examples through TensorFlow's C API.
 *
 *   run_graph GRAPH.pb -b OPERATION SHAPE MEAN STD_DEV FILE -r OPERATION SHAPE FILE -o OPERATION FILE
 *
 * -b is an input of bytes, -r one of real values, -o an output; each any number of times. FILE of -b holds bytes, of -r
 * floats, [n, SHAPE] with a SHAPE as 8x8x1, or '' for a number an example. The graph takes (byte - MEAN) / STD_DEV, or
 * the floats as they are, at OPERATION. FILE of -o is written: for each example the values of OPERATION, floats, or
 * int32 of classes. C99; build.sh compiles it. Exit status 0, or 1 with a sentence on stderr.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"

#define MOST_ENDS 64
#define MOST_AXES 8

typedef struct {
  const char* path;
  int is_bytes;
  float mean, std_dev;
  int64_t shape[MOST_AXES]; /* With the batch, 1. */
  int axes;
  size_t values; /* Of one example. */
  unsigned char* data;
} Input;

static void fail(const char* what, const char* why) {
  fprintf(stderr, "run_graph: %s: %s\n", what, why);
  exit(1);
}

static void check(TF_Status* status, const char* what) {
  if (TF_GetCode(status) != TF_OK) fail(what, TF_Message(status));
}

static unsigned char* contents(const char* path, size_t* length) {
  FILE* file = fopen(path, "rb");
  if (!file) fail(path, "cannot be opened");
  fseek(file, 0, SEEK_END);
  *length = (size_t)ftell(file);
  rewind(file);
  unsigned char* data = malloc(*length ? *length : 1);
  if (!data || fread(data, 1, *length, file) != *length) fail(path, "cannot be read");
  fclose(file);
  return data;
}

static TF_Output operation(TF_Graph* graph, const char* name) {
  TF_Output end = {TF_GraphOperationByName(graph, name), 0};
  if (!end.oper) fail(name, "is no operation of the graph");
  return end;
}

static void set_shape(Input* input, const char* text) {
  input->axes = 1;
  input->shape[0] = 1;
  input->values = 1;
  while (*text) {
    char* rest;
    const long long size = strtoll(text, &rest, 10);
    if (rest == text || size < 1 || input->axes == MOST_AXES) fail(text, "is no shape");
    input->shape[input->axes++] = size;
    input->values *= (size_t)size;
    text = *rest == 'x' ? rest + 1 : rest;
  }
}

static TF_Tensor* example(const Input* input, size_t row) {
  TF_Tensor* tensor = TF_AllocateTensor(TF_FLOAT, input->shape, input->axes, input->values * sizeof(float));
  float* values = TF_TensorData(tensor);
  if (!input->is_bytes) {
    memcpy(values, input->data + row * input->values * sizeof(float), input->values * sizeof(float));
    return tensor;
  }
  const unsigned char* bytes = input->data + row * input->values;
  for (size_t i = 0; i < input->values; ++i) values[i] = ((float)bytes[i] - input->mean) / input->std_dev;
  return tensor;
}

int main(int count, char** arguments) {
  const char* usage = "GRAPH [-b OPERATION SHAPE MEAN STD_DEV FILE | -r OPERATION SHAPE FILE | -o OPERATION FILE]...";
  if (count < 2) fail("usage", usage);
  TF_Status* status = TF_NewStatus();

  size_t graph_bytes;
  unsigned char* definition = contents(arguments[1], &graph_bytes);
  TF_Buffer* buffer = TF_NewBufferFromString(definition, graph_bytes);
  TF_Graph* graph = TF_NewGraph();
  TF_ImportGraphDefOptions* import = TF_NewImportGraphDefOptions();
  TF_GraphImportGraphDef(graph, buffer, import, status);
  check(status, arguments[1]);

  TF_Output taken[MOST_ENDS], wanted[MOST_ENDS];
  Input inputs[MOST_ENDS];
  FILE* files[MOST_ENDS];
  const char* paths[MOST_ENDS];
  int input_count = 0, output_count = 0;
  size_t examples = 0;
  for (int at = 2; at < count;) {
    const char* kind = arguments[at];
    const int parts = !strcmp(kind, "-b") ? 6 : !strcmp(kind, "-r") ? 4 : !strcmp(kind, "-o") ? 3 : 0;
    if (!parts || at + parts > count || input_count == MOST_ENDS || output_count == MOST_ENDS) fail("usage", usage);
    const TF_Output end = operation(graph, arguments[at + 1]);
    const char* path = arguments[at + parts - 1];
    if (parts == 3) {
      wanted[output_count] = end;
      paths[output_count] = path;
      files[output_count] = fopen(path, "wb");
      if (!files[output_count++]) fail(path, "cannot be written");
    } else {
      Input* input = &inputs[input_count];
      taken[input_count++] = end;
      input->path = path;
      input->is_bytes = parts == 6;
      input->mean = input->is_bytes ? strtof(arguments[at + 3], NULL) : 0.0f;
      input->std_dev = input->is_bytes ? strtof(arguments[at + 4], NULL) : 1.0f;
      set_shape(input, arguments[at + 2]);
      size_t bytes;
      input->data = contents(path, &bytes);
      const size_t size = input->values * (input->is_bytes ? 1 : sizeof(float));
      if (bytes % size) fail(path, "holds no whole number of examples");
      if (input_count > 1 && bytes / size != examples) fail(path, "holds another number of examples");
      examples = bytes / size;
    }
    at += parts;
  }

  TF_SessionOptions* options = TF_NewSessionOptions();
  /* ConfigProto: one thread within an operation (field 2) and one between them (field 5), as Python's comparison. */
  TF_SetConfig(options, "\x10\x01\x28\x01", 4, status);
  check(status, "session options");
  TF_Session* session = TF_NewSession(graph, options, status);
  check(status, "session");

  for (size_t row = 0; row < examples; ++row) {
    TF_Tensor* given[MOST_ENDS];
    TF_Tensor* results[MOST_ENDS];
    for (int i = 0; i < input_count; ++i) given[i] = example(&inputs[i], row);
    for (int i = 0; i < output_count; ++i) results[i] = NULL;
    TF_SessionRun(session, NULL, taken, given, input_count, wanted, results, output_count, NULL, 0, NULL, status);
    check(status, "run");
    for (int i = 0; i < input_count; ++i) TF_DeleteTensor(given[i]);
    for (int i = 0; i < output_count; ++i) {
      const size_t size = TF_TensorByteSize(results[i]);
      if (fwrite(TF_TensorData(results[i]), 1, size, files[i]) != size) fail(paths[i], "disk full");
      TF_DeleteTensor(results[i]);
    }
  }
  for (int i = 0; i < output_count; ++i)
    if (fclose(files[i])) fail(paths[i], "cannot be written");
  printf("%s\n", TF_Version());

  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteSessionOptions(options);
  TF_DeleteImportGraphDefOptions(import);
  TF_DeleteGraph(graph);
  TF_DeleteBuffer(buffer);
  TF_DeleteStatus(status);
  free(definition);
  for (int i = 0; i < input_count; ++i) free(inputs[i].data);
  return 0;
}
