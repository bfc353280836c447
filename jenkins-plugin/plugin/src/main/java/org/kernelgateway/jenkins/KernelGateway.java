package org.kernelgateway.jenkins;

import edu.umd.cs.findbugs.annotations.NonNull;
import hudson.Extension;
import hudson.Util;
import hudson.model.AbstractDescribableImpl;
import hudson.model.Descriptor;
import hudson.security.ACL;
import hudson.util.FormValidation;
import hudson.util.ListBoxModel;
import hudson.util.Secret;
import java.io.IOException;
import jenkins.model.Jenkins;
import org.kohsuke.stapler.DataBoundConstructor;
import org.kohsuke.stapler.DataBoundSetter;
import org.kohsuke.stapler.QueryParameter;
import org.kohsuke.stapler.verb.POST;

/** A kernel gateway that jobs may name, as an administrator describes it once for all. */
public class KernelGateway extends AbstractDescribableImpl<KernelGateway> {
    private final String name;
    private final String url;
    private String credentialsId;

    @DataBoundConstructor
    public KernelGateway(String name, String url) {
        this.name = Util.fixNull(name).trim();
        this.url = GatewayClient.normalise(url);
    }

    public String getName() {
        return name;
    }

    /** Without a slash at its end. */
    public String getUrl() {
        return url;
    }

    /** The id of a secret text with the gateway's token, or null. */
    public String getCredentialsId() {
        return credentialsId;
    }

    @DataBoundSetter
    public void setCredentialsId(String credentialsId) {
        this.credentialsId = Util.fixEmptyAndTrim(credentialsId);
    }

    @Extension
    public static class DescriptorImpl extends Descriptor<KernelGateway> {
        @NonNull
        @Override
        public String getDisplayName() {
            return "Kernel gateway";
        }

        @POST
        public FormValidation doCheckName(@QueryParameter String value) {
            Jenkins.get().checkPermission(Jenkins.ADMINISTER);
            return Util.fixEmptyAndTrim(value) == null
                    ? FormValidation.error("Give the gateway a name; jobs choose it by that.")
                    : FormValidation.ok();
        }

        @POST
        public FormValidation doCheckUrl(@QueryParameter String value) {
            Jenkins.get().checkPermission(Jenkins.ADMINISTER);
            return GatewayClient.checkUrl(value);
        }

        @POST
        public ListBoxModel doFillCredentialsIdItems(@QueryParameter String credentialsId) {
            return Tokens.listForAdministrators(credentialsId);
        }

        /** The form's button: asks the gateway, and says in words what it found. */
        @POST
        public FormValidation doTestConnection(@QueryParameter String url, @QueryParameter String credentialsId) {
            Jenkins.get().checkPermission(Jenkins.ADMINISTER);
            FormValidation problem = GatewayClient.checkUrl(url);
            if (problem.kind != FormValidation.Kind.OK) {
                return problem;
            }
            Secret token = Tokens.find(credentialsId, Jenkins.get(), ACL.SYSTEM2);
            if (token == null && Util.fixEmptyAndTrim(credentialsId) != null) {
                return FormValidation.error("There is no secret text with the id '" + credentialsId + "'.");
            }
            try {
                return FormValidation.ok(new GatewayClient(url, token).describe());
            } catch (IOException unreachable) {
                return FormValidation.error(unreachable.getMessage());
            }
        }
    }
}
