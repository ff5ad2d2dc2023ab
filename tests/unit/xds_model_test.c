/* Sessions against a model of a client, in random interleavings: see xds_model.h. */
#include "tests/unit/xds_model.h"

#include "tests/unit/test.h"

enum { RUNS = TEST_ROUNDS(100) };

static void run_model(const struct model_options *o)
{
    static const uint64_t telling[] = {
        5271, /* a cluster that was left out beside a bad one comes back */
        6707, /* a form is taken, and may stand in, after the newer one was refused */
    };
    const struct test_seeds seeds = test_seeds(RUNS);

    for (uint64_t seed = seeds.from; seed <= seeds.to; seed++)
        model_run(seed, o);
    for (size_t i = 0; i < ARRAY_LEN(telling); i++)
        model_run(telling[i], o);
}

#define MODEL_TEST(test_name, ...)                                                                                   \
    TEST(test_name)                                                                                                  \
    {                                                                                                                \
        run_model(&(struct model_options){.steps = 200, __VA_ARGS__});                                               \
    }

MODEL_TEST(model_delta, .variant = XDS_DELTA, .aggregated = true)
MODEL_TEST(model_delta_by_name, .variant = XDS_DELTA, .aggregated = true, .asks_by_name = true)
MODEL_TEST(model_delta_single_services, .variant = XDS_DELTA)
MODEL_TEST(model_delta_cut, .variant = XDS_DELTA, .aggregated = true, .cuts = true)
MODEL_TEST(model_delta_cut_by_name, .variant = XDS_DELTA, .aggregated = true, .cuts = true, .asks_by_name = true)
MODEL_TEST(model_delta_names_culprits, .variant = XDS_DELTA, .aggregated = true, .refusal = MODEL_NAMES)
MODEL_TEST(model_delta_loses_all, .variant = XDS_DELTA, .aggregated = true, .refusal = MODEL_LOSES_ALL)
MODEL_TEST(model_delta_loses_and_names, .variant = XDS_DELTA, .aggregated = true, .refusal = MODEL_LOSES_NAMES)
MODEL_TEST(model_delta_refuses_and_is_cut, .variant = XDS_DELTA, .aggregated = true, .refusal = MODEL_LOSES_ALL,
           .cuts = true, .asks_by_name = true)
MODEL_TEST(model_sotw, .variant = XDS_SOTW, .aggregated = true)
MODEL_TEST(model_sotw_by_name, .variant = XDS_SOTW, .aggregated = true, .asks_by_name = true)
MODEL_TEST(model_sotw_single_services, .variant = XDS_SOTW)
MODEL_TEST(model_sotw_warms, .variant = XDS_SOTW, .aggregated = true, .warms = true)
MODEL_TEST(model_sotw_cut, .variant = XDS_SOTW, .aggregated = true, .cuts = true)
MODEL_TEST(model_sotw_cut_by_name, .variant = XDS_SOTW, .aggregated = true, .cuts = true, .asks_by_name = true)
MODEL_TEST(model_sotw_names_culprits, .variant = XDS_SOTW, .aggregated = true, .refusal = MODEL_NAMES)
MODEL_TEST(model_sotw_loses_all, .variant = XDS_SOTW, .aggregated = true, .refusal = MODEL_LOSES_ALL)
MODEL_TEST(model_sotw_loses_and_names, .variant = XDS_SOTW, .aggregated = true, .refusal = MODEL_LOSES_NAMES)
MODEL_TEST(model_sotw_refuses_and_warms, .variant = XDS_SOTW, .aggregated = true, .refusal = MODEL_LOSES_ALL,
           .warms = true)
MODEL_TEST(model_sotw_refuses_and_is_cut, .variant = XDS_SOTW, .aggregated = true, .refusal = MODEL_LOSES_ALL,
           .cuts = true, .asks_by_name = true)
