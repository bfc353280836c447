package org.kernelgateway.jenkins;

import hudson.Util;
import hudson.tasks.Builder;
import org.kohsuke.stapler.DataBoundSetter;

/**
 * The options of a kernel run that are one value each: the same names as the shared library's step, kernelRun, has.
 *
 * <p>{@link KernelRunStep} adds those that are several, and runs it.
 */
public abstract class KernelRunOptions extends Builder {
    private String kernel;
    private int gpus;
    private Double cpus;
    private String memory;
    private String maxMemory;
    private Double maxGpuHours;
    private String label;
    private String env;
    private String gateway;
    private String credentialsId;
    private Double timeout;
    private Double cellTimeout;
    private String name;
    private boolean allowErrors;
    private int retries;
    private String outputDir;
    private String client;
    private Boolean publish;
    private String baseline;
    private String mlflow;
    private String register;
    private String promote;

    /** The kernelspec; null for the source's own. */
    public String getKernel() {
        return kernel;
    }

    @DataBoundSetter
    public void setKernel(String kernel) {
        this.kernel = Util.fixEmptyAndTrim(kernel);
    }

    /** How many GPUs the agent must have. */
    public int getGpus() {
        return gpus;
    }

    @DataBoundSetter
    public void setGpus(int gpus) {
        this.gpus = gpus;
    }

    /** How many CPUs the run gets; null for the gateway's own rule. */
    public Double getCpus() {
        return cpus;
    }

    @DataBoundSetter
    public void setCpus(Double cpus) {
        this.cpus = cpus;
    }

    /** How much memory the run gets, e.g. 8G; null for the gateway's own rule. */
    public String getMemory() {
        return memory;
    }

    @DataBoundSetter
    public void setMemory(String memory) {
        this.memory = Util.fixEmptyAndTrim(memory);
    }

    /** The memory that the run may use before it is stopped, e.g. 16G; null for no limit. */
    public String getMaxMemory() {
        return maxMemory;
    }

    @DataBoundSetter
    public void setMaxMemory(String maxMemory) {
        this.maxMemory = Util.fixEmptyAndTrim(maxMemory);
    }

    /** The GPU hours that the run may use before it is stopped; null for no limit. */
    public Double getMaxGpuHours() {
        return maxGpuHours;
    }

    @DataBoundSetter
    public void setMaxGpuHours(Double maxGpuHours) {
        this.maxGpuHours = maxGpuHours;
    }

    /** The label that the gateway's agent must have. */
    public String getLabel() {
        return label;
    }

    @DataBoundSetter
    public void setLabel(String label) {
        this.label = Util.fixEmptyAndTrim(label);
    }

    /** A requirements.txt, pyproject.toml or environment.yml for the kernel. */
    public String getEnv() {
        return env;
    }

    @DataBoundSetter
    public void setEnv(String env) {
        this.env = Util.fixEmptyAndTrim(env);
    }

    /** A gateway's name or address; null for the folder's, or the first of the system configuration. */
    public String getGateway() {
        return gateway;
    }

    @DataBoundSetter
    public void setGateway(String gateway) {
        this.gateway = Util.fixEmptyAndTrim(gateway);
    }

    /** The id of a secret text with the gateway's token; null for the gateway's own. */
    public String getCredentialsId() {
        return credentialsId;
    }

    @DataBoundSetter
    public void setCredentialsId(String credentialsId) {
        this.credentialsId = Util.fixEmptyAndTrim(credentialsId);
    }

    /** The limit of the whole run, in seconds. */
    public Double getTimeout() {
        return timeout;
    }

    @DataBoundSetter
    public void setTimeout(Double timeout) {
        this.timeout = timeout;
    }

    /** The limit of one cell, in seconds. */
    public Double getCellTimeout() {
        return cellTimeout;
    }

    @DataBoundSetter
    public void setCellTimeout(Double cellTimeout) {
        this.cellTimeout = cellTimeout;
    }

    /** The run's name; null for the source's stem. */
    public String getName() {
        return name;
    }

    @DataBoundSetter
    public void setName(String name) {
        this.name = Util.fixEmptyAndTrim(name);
    }

    /** Whether to go on after a failing cell. */
    public boolean isAllowErrors() {
        return allowErrors;
    }

    @DataBoundSetter
    public void setAllowErrors(boolean allowErrors) {
        this.allowErrors = allowErrors;
    }

    /** How often a gateway starts the run again after its runner was lost. */
    public int getRetries() {
        return retries;
    }

    @DataBoundSetter
    public void setRetries(int retries) {
        this.retries = retries;
    }

    /** Where the results go; null for kernel-runs/ and the run's name. */
    public String getOutputDir() {
        return outputDir;
    }

    @DataBoundSetter
    public void setOutputDir(String outputDir) {
        this.outputDir = Util.fixEmptyAndTrim(outputDir);
    }

    /** The kernel-gateway command on the agent; null for the one on its PATH, or one that is installed. */
    public String getClient() {
        return client;
    }

    @DataBoundSetter
    public void setClient(String client) {
        this.client = Util.fixEmptyAndTrim(client);
    }

    /** Whether the results are archived and shown on the build's page. */
    public boolean isPublish() {
        return publish == null || publish;
    }

    @DataBoundSetter
    public void setPublish(boolean publish) {
        this.publish = publish;
    }

    /** What gates compare with; null for the last good run of the output folder. */
    public String getBaseline() {
        return baseline;
    }

    @DataBoundSetter
    public void setBaseline(String baseline) {
        this.baseline = Util.fixEmptyAndTrim(baseline);
    }

    /** The address of an MLflow server that tracks the run. */
    public String getMlflow() {
        return mlflow;
    }

    @DataBoundSetter
    public void setMlflow(String mlflow) {
        this.mlflow = Util.fixEmptyAndTrim(mlflow);
    }

    /** The name under which the model that the program logs is registered. */
    public String getRegister() {
        return register;
    }

    @DataBoundSetter
    public void setRegister(String register) {
        this.register = Util.fixEmptyAndTrim(register);
    }

    /** The alias that the registered model gets if all gates are met. */
    public String getPromote() {
        return promote;
    }

    @DataBoundSetter
    public void setPromote(String promote) {
        this.promote = Util.fixEmptyAndTrim(promote);
    }
}
