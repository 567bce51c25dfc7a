# %%
print(f"this notebook: {metric} {error:.5g}")
if job_error is not None:
    print(f"the job:       {metric} {job_error:.5g}")
if job_error is not None and job_standard_error:
    apart = abs(error - job_error) / job_standard_error
    print(f"Its standard error is {job_standard_error:.2g}: they differ by {apart:.1f} of them.")
