/* Runs a frozen graph on images through TensorFlow's C API.
 *
 *   run_graph GRAPH.pb INPUT OUTPUT HEIGHT WIDTH CHANNELS CLASSES MEAN STD_DEV IMAGES OUTPUTS
 *
 * IMAGES holds bytes [n, HEIGHT, WIDTH, CHANNELS]; the graph takes (byte - MEAN) / STD_DEV at the operation INPUT.
 * OUTPUTS is written: floats [n, CLASSES] of the operation OUTPUT. C99; build.sh compiles it. Exit status 0, or 1 with
 * a sentence on stderr.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"

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

int main(int count, char** arguments) {
  if (count != 12) fail("usage", "GRAPH INPUT OUTPUT HEIGHT WIDTH CHANNELS CLASSES MEAN STD_DEV IMAGES OUTPUTS");
  const int64_t height = atoll(arguments[4]), width = atoll(arguments[5]), channels = atoll(arguments[6]);
  const size_t classes = (size_t)atoll(arguments[7]);
  const float mean = strtof(arguments[8], NULL), std_dev = strtof(arguments[9], NULL);
  TF_Status* status = TF_NewStatus();

  size_t graph_bytes;
  unsigned char* definition = contents(arguments[1], &graph_bytes);
  TF_Buffer* buffer = TF_NewBufferFromString(definition, graph_bytes);
  TF_Graph* graph = TF_NewGraph();
  TF_ImportGraphDefOptions* import = TF_NewImportGraphDefOptions();
  TF_GraphImportGraphDef(graph, buffer, import, status);
  check(status, arguments[1]);

  TF_SessionOptions* options = TF_NewSessionOptions();
  /* ConfigProto: one thread within an operation (field 2) and one between them (field 5), as Python's comparison. */
  TF_SetConfig(options, "\x10\x01\x28\x01", 4, status);
  check(status, "session options");
  TF_Session* session = TF_NewSession(graph, options, status);
  check(status, "session");
  TF_Output given = operation(graph, arguments[2]), wanted = operation(graph, arguments[3]);

  size_t bytes;
  unsigned char* images = contents(arguments[10], &bytes);
  const size_t pixels = (size_t)(height * width * channels);
  if (!pixels || bytes % pixels) fail(arguments[10], "holds no whole number of images");
  FILE* outputs = fopen(arguments[11], "wb");
  if (!outputs) fail(arguments[11], "cannot be written");
  const int64_t shape[4] = {1, height, width, channels};
  for (size_t image = 0; image < bytes / pixels; ++image) {
    TF_Tensor* input = TF_AllocateTensor(TF_FLOAT, shape, 4, pixels * sizeof(float));
    float* values = TF_TensorData(input);
    for (size_t i = 0; i < pixels; ++i) values[i] = ((float)images[image * pixels + i] - mean) / std_dev;
    TF_Tensor* output = NULL;
    TF_SessionRun(session, NULL, &given, &input, 1, &wanted, &output, 1, NULL, 0, NULL, status);
    check(status, "run");
    if (TF_TensorByteSize(output) != classes * sizeof(float)) fail(arguments[3], "gives another number of classes");
    if (fwrite(TF_TensorData(output), sizeof(float), classes, outputs) != classes) fail(arguments[11], "disk full");
    TF_DeleteTensor(input);
    TF_DeleteTensor(output);
  }
  if (fclose(outputs)) fail(arguments[11], "cannot be written");
  printf("%s\n", TF_Version());

  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteSessionOptions(options);
  TF_DeleteImportGraphDefOptions(import);
  TF_DeleteGraph(graph);
  TF_DeleteBuffer(buffer);
  TF_DeleteStatus(status);
  free(definition);
  free(images);
  return 0;
}
